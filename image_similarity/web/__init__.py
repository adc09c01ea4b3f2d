"""The analyst's page: one case, served to a browser on this machine; needs the extra `web`."""
