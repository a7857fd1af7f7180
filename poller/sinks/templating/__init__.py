"""Templates: Jinja2 in bounds, so that none can hang the daemon or fill its memory."""
