"""How people are told of alerts: by mail, by chat and pager, by a signed webhook."""
