"""The HTTP code that the receiver, the API and the dashboard share."""
