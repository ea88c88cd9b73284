"""Pages of what is sent: webhooks."""
