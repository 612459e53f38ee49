"""Tasks that most projects need: webhooks, e-mail, a report of operations, and tidying up."""
