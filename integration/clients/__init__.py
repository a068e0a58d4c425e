"""HTTP clients: wolkvox and HubSpot, on one transport with a deadline."""
