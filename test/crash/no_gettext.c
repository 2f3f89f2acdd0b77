/*-------------------------------------------------------------------------
 *
 * no_gettext.c
 *	  To be preloaded next to AddressSanitizer: the server without translations.
 *
 * Under it the server waits for ever for a lock of gettext, in its first call.
 *
 *-------------------------------------------------------------------------
 */
char	   *bindtextdomain(const char *domain, const char *directory);
char	   *bind_textdomain_codeset(const char *domain, const char *codeset);
char	   *textdomain(const char *domain);

char *
bindtextdomain(const char *domain, const char *directory)
{
	(void) domain;
	return (char *) directory;
}

char *
bind_textdomain_codeset(const char *domain, const char *codeset)
{
	(void) domain;
	return (char *) codeset;
}

char *
textdomain(const char *domain)
{
	return (char *) domain;
}
