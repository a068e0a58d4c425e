"""Services: the operations offered to web applications, commands and workers, one module per subject."""
