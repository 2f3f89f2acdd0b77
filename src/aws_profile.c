/*-------------------------------------------------------------------------
 *
 * aws_profile.c
 *	  Credentials of a profile in the files ~/.aws/config and ~/.aws/credentials
 *	  of the operating system's user that the server runs as.
 *
 * A profile has a key, or a role and whose credentials assume it: another
 * profile, or another source.  Programs that print credentials are not run.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <pwd.h>
#include <unistd.h>

#include "aws_internal.h"

#define FILE_MAX	(1024 * 1024)
#define DEPTH_MAX	8			/* profiles that name one another */

/* The two files, as they are; the first is asked first. */
typedef struct Files
{
	char	   *credentials;	/* sections [name]; NULL: not there */
	char	   *config;			/* sections [profile name] */
} Files;

static CdcAwsOutcome find_profile(CdcAwsSearch *search, const Files *files,
								  const char *name, int depth);

/* ----------
 * Files
 * ----------
 */
static char *
read_file(const char *variable, const char *file)
{
	const char *path = cdc_aws_env(variable);
	int			save_errno;

	if (path == NULL)
	{
		const char *home = cdc_aws_env("HOME");

		if (home == NULL)
		{
			struct passwd *user = getpwuid(geteuid());

			if (user == NULL)
				return NULL;
			home = user->pw_dir;
		}
		path = psprintf("%s/.aws/%s", home, file);
	}
	return cdc_aws_file_read(path, FILE_MAX, &save_errno);
}

static void
wipe_files(Files *files)
{
	if (files->credentials)
		explicit_bzero(files->credentials, strlen(files->credentials));
	if (files->config)
		explicit_bzero(files->config, strlen(files->config));
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void
trim(const char **start, const char **end)
{
	while (*start < *end && is_blank(**start))
		(*start)++;
	while (*end > *start && is_blank((*end)[-1]))
		(*end)--;
}

/* Is this line, which begins with a bracket, the header of that section? */
static bool
is_section(const char *start, const char *end, bool prefixed, const char *name)
{
	const char *close = memchr(start, ']', end - start);

	if (close == NULL)
		return false;
	start++;
	trim(&start, &close);
	if (prefixed && close - start > 8 && strncmp(start, "profile", 7) == 0 &&
		is_blank(start[7]))
	{
		start += 8;
		trim(&start, &close);
	}
	else if (prefixed && strcmp(name, "default") != 0)
		return false;
	return close - start == strlen(name) && strncmp(start, name, close - start) == 0;
}

/* The value in this line if it is "key = value"; NULL if not. */
static char *
value_of(const char *start, const char *end, const char *key)
{
	const char *equals = memchr(start, '=', end - start);
	const char *key_end = equals;

	if (equals == NULL)
		return NULL;
	trim(&start, &key_end);
	if (key_end - start != strlen(key) || pg_strncasecmp(start, key, key_end - start) != 0)
		return NULL;
	start = equals + 1;
	/* a comment after the value has a blank before it */
	for (const char *p = start; p + 1 < end; p++)
		if (is_blank(p[0]) && (p[1] == '#' || p[1] == ';'))
		{
			end = p;
			break;
		}
	trim(&start, &end);
	return pnstrdup(start, end - start);
}

/*
 * The last value of the key in sections of that name; *exists is set if there
 * is a section.  Lines that begin with a blank belong to a value of the line
 * before.
 */
static char *
look_up(const char *text, bool prefixed, const char *section, const char *key,
		bool *exists)
{
	bool		inside = false;
	char	   *result = NULL;

	for (const char *line = text; line && *line;)
	{
		const char *end = line + strcspn(line, "\n");

		if (*line == '[')
		{
			inside = is_section(line, end, prefixed, section);
			*exists |= inside;
		}
		else if (inside && !is_blank(*line) && *line != '#' && *line != ';')
		{
			char	   *value = value_of(line, end, key);

			if (value)
			{
				cdc_aws_string_wipe(&result);
				result = value;
			}
		}
		line = *end ? end + 1 : end;
	}
	return result;
}

/* NULL if it is not set, or empty. */
static char *
profile_value(const Files *files, const char *profile, const char *key, bool *exists)
{
	char	   *value = look_up(files->credentials, false, profile, key, exists);
	char	   *other = look_up(files->config, true, profile, key, exists);

	if (value == NULL)
		value = other;
	else
		cdc_aws_string_wipe(&other);
	return value && value[0] != '\0' ? value : NULL;
}

static char *
get(const Files *files, const char *profile, const char *key)
{
	bool		exists;

	return profile_value(files, profile, key, &exists);
}

/* ----------
 * Profiles
 * ----------
 */
static CdcAwsOutcome
find_static(CdcAwsSearch *search, const Files *files, const char *name)
{
	char	   *key = get(files, name, "aws_access_key_id");

	if (key == NULL)
		return CDC_AWS_ABSENT;
	return cdc_aws_credentials_set(search, key, get(files, name, "aws_secret_access_key"),
								   get(files, name, "aws_session_token"), NULL,
								   psprintf(_("the profile \"%s\""), name)) ?
		CDC_AWS_FOUND : CDC_AWS_FAILED;
}

/* Whose credentials assume the role. */
static CdcAwsOutcome
find_source(CdcAwsSearch *search, const Files *files, const char *name, int depth)
{
	char	   *profile = get(files, name, "source_profile");
	char	   *source = get(files, name, "credential_source");
	CdcAwsOutcome outcome = CDC_AWS_ABSENT;

	if (profile && strcmp(profile, name) == 0)
		outcome = find_static(search, files, name);
	else if (profile)
		return find_profile(search, files, profile, depth + 1);
	else if (source && strcmp(source, "Environment") == 0)
		outcome = cdc_aws_environment_find(search);
	else if (source && strcmp(source, "Ec2InstanceMetadata") == 0)
		outcome = cdc_aws_imds_find(search);
	else if (source && strcmp(source, "EcsContainer") == 0)
		outcome = cdc_aws_container_find(search);
	else
		return cdc_aws_fail(search, NULL, _("The profile \"%s\" names a role, but neither a source_profile nor a credential_source that there is."),
							name);
	if (outcome == CDC_AWS_ABSENT)
		cdc_aws_fail(search, NULL, _("What the profile \"%s\" names as the source of credentials has none."), name);
	return outcome == CDC_AWS_ABSENT ? CDC_AWS_FAILED : outcome;
}

static CdcAwsOutcome
find_role(CdcAwsSearch *search, const Files *files, const char *name,
		  const char *role_arn, int depth)
{
	char	   *session_name = get(files, name, "role_session_name");
	char	   *token_file = get(files, name, "web_identity_token_file");
	CdcAwsOutcome outcome;

	if (session_name == NULL)
		session_name = pstrdup(search->settings->session_name);
	if (token_file)
		return cdc_aws_role_assume_with_token(search, role_arn, session_name, token_file);
	outcome = find_source(search, files, name, depth);
	if (outcome != CDC_AWS_FOUND)
		return outcome;
	return cdc_aws_role_assume(search, role_arn, get(files, name, "external_id"),
							   session_name);
}

static CdcAwsOutcome
find_profile(CdcAwsSearch *search, const Files *files, const char *name, int depth)
{
	bool		exists = false;
	char	   *role_arn = profile_value(files, name, "role_arn", &exists);
	CdcAwsOutcome outcome;

	if (!exists)
		return cdc_aws_fail(search, _("The files are those of the operating system's user that the server runs as."),
							_("There is no profile \"%s\" of AWS."), name);
	if (depth > DEPTH_MAX)
		return cdc_aws_fail(search, NULL, _("The profiles of AWS name one another in a circle, at \"%s\"."), name);
	if (role_arn)
		return find_role(search, files, name, role_arn, depth);
	outcome = find_static(search, files, name);
	if (outcome != CDC_AWS_ABSENT)
		return outcome;
	if (get(files, name, "credential_process"))
		return cdc_aws_fail(search, _("Programs that print credentials are not run."),
							_("The profile \"%s\" has only a credential_process."), name);
	return cdc_aws_fail(search, NULL, _("The profile \"%s\" has neither a key nor a role."), name);
}

/* The profile that is named, or the default one if it has anything to offer. */
CdcAwsOutcome
cdc_aws_profile_find(CdcAwsSearch *search)
{
	const char *name = search->settings->profile;
	Files		files;
	CdcAwsOutcome outcome = CDC_AWS_ABSENT;

	if (name == NULL)
		name = cdc_aws_env("AWS_PROFILE");
	files.credentials = read_file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	files.config = read_file("AWS_CONFIG_FILE", "config");
	if (name || get(&files, "default", "aws_access_key_id") ||
		get(&files, "default", "role_arn"))
		outcome = find_profile(search, &files, name ? name : "default", 0);
	wipe_files(&files);
	return outcome;
}
