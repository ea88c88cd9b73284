"""Pages of outgoing messages: webhooks and e-mails."""
