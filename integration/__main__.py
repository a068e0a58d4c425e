"""Makes `python -m integration` the same command as `ringback`, for starting child processes."""

from integration.cli.main import main

main()
