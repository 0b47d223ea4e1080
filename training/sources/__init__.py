"""Where training tiles come from."""
