"""Sign-in at the district's identity provider: OpenID Connect, the code flow with PKCE, nonce and state."""
