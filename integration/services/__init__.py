"""Services: the operations that web applications, commands and workers call, one module per subject."""
