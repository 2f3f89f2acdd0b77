/*-------------------------------------------------------------------------
 *
 * kafka_file.c
 *	  Certificates and keys in files of the server.
 *
 * Whoever names a file makes the server read it, with the rights of the
 * operating system's user that it runs as: only roles that may read files of the
 * server anyway may do so.  That is checked when the option is set, as for all
 * options; later everybody who may use the server uses what is in the file.  We
 * read it, and not librdkafka, so that what is no PEM file is refused before
 * anything looks into it, and its content is never in a message.
 *
 * Reads role membership from the system catalogs, in the caller's transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"

#include "kafka_file.h"

#define FILE_MAX_BYTES	(1024 * 1024)

bool
cdc_is_pem(const char *text)
{
	return strstr(text, "-----BEGIN ") != NULL && strstr(text, "-----END ") != NULL;
}

void
cdc_kafka_file_check(const char *name, const char *value)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", name),
				 errdetail("Only roles with privileges of the \"pg_read_server_files\" role may name a file of the server."),
				 errhint("The option without \"_file\" takes the text of the file.")));
	if (!is_absolute_path(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("It is the absolute path of a file of the server.")));
}

static void
could_not_read(const char *name, const char *path)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not read the file of option \"%s\": \"%s\": %m",
					name, path)));
}

/*
 * Opens a file that is read to its end, and not one that one might wait for:
 * what stands at the path may be replaced at any time, so the open file counts.
 */
static int
open_ordinary(const char *name, const char *path)
{
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		could_not_read(name, path);
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("could not read the file of option \"%s\": \"%s\"",
						name, path),
				 errdetail("It is no ordinary file, or longer than 1 MB.")));
	return fd;
}

/* An error closes the file with the transaction. */
char *
cdc_kafka_file_read(const char *name, const char *path)
{
	int			fd = open_ordinary(name, path);
	char	   *text = palloc(FILE_MAX_BYTES + 1);
	char	   *result;
	size_t		len = 0;
	ssize_t		n;

	while ((n = read(fd, text + len, FILE_MAX_BYTES - len)) > 0)
		len += n;
	text[len] = '\0';
	if (n < 0)
	{
		explicit_bzero(text, len);
		could_not_read(name, path);
	}
	CloseTransientFile(fd);
	if (!cdc_is_pem(text))
	{
		explicit_bzero(text, len);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the file of option \"%s\" is no PEM file: \"%s\"", name, path)));
	}
	result = pnstrdup(text, len);
	explicit_bzero(text, len);
	pfree(text);
	return result;
}
