"""Menus of (update frequency, reward) for sites whose costs are private: the exact optimum, and what holders choose."""
