"""What a recall is, who may ask for one, how wolkvox is spoken to; the web."""
