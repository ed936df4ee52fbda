"""Names of addresses: what name servers have told processes. Imported only where the option `names` is set."""
