"""Pages of what is sent: webhooks and e-mails."""
