"""Parts that two or more stores share."""
