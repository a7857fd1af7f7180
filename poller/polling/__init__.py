"""Asks: plan -> look -> observe -> commit -> wait, one loop for each account and region."""
