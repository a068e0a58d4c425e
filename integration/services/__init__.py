"""What the web, the command line and the workers ask for, one module per subject."""
