"""Safety screen: what a stay's chart says against a drug that may be started. No clinical decision support device."""
