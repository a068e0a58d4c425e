"""`python -m integration` is `ringback`, for processes that start another one of themselves."""

from integration.cli.main import main

main()
