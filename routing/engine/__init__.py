"""The mathematics of routing: plain Python, no Django, no database, no clock, no generator of its own."""
