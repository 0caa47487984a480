"""Sites that train one model together: what leaves a site, how it is screened and combined; data stay at the site."""
