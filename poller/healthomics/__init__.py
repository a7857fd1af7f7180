"""AWS HealthOmics, asked through aiobotocore."""
