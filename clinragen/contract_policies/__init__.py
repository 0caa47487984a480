"""Policies that learn to write menus, beside the exact optimum: a diffusion policy and PPO. They need torch."""
