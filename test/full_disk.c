/*-------------------------------------------------------------------------
 *
 * full_disk.c
 *	  A disk that is full while a file exists, for tests: LD_PRELOAD it.
 *
 * While FULL_DISK_FLAG exists, files below FULL_DISK_DIR cannot grow: what would
 * make one longer fails with ENOSPC.  Blocks that are there can be written, as on
 * most file systems.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Would the file become longer that must not? */
static int
is_full(int fd, off_t end)
{
	const char *dir = getenv("FULL_DISK_DIR");
	const char *flag = getenv("FULL_DISK_FLAG");
	char		link[64];
	char		path[4096];
	struct stat st;
	ssize_t		len;
	int			save_errno = errno;
	int			full = 0;

	if (dir && flag && access(flag, F_OK) == 0)
	{
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, path, sizeof(path) - 1);
		full = len > 0 && strncmp(path, dir, strlen(dir)) == 0 &&
			fstat(fd, &st) == 0 && end > st.st_size;
	}
	errno = full ? ENOSPC : save_errno;
	return full;
}

static off_t
end_of(const struct iovec *iov, int iovcnt, off_t offset)
{
	for (int i = 0; i < iovcnt; i++)
		offset += iov[i].iov_len;
	return offset;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return is_full(fd, offset + n) ? -1 : REAL(pwrite) (fd, buf, n, offset);
}

ssize_t
pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
	return is_full(fd, offset + n) ? -1 : REAL(pwrite64) (fd, buf, n, offset);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
	return is_full(fd, end_of(iov, iovcnt, offset)) ? -1 : REAL(pwritev) (fd, iov, iovcnt, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int iovcnt, off64_t offset)
{
	return is_full(fd, end_of(iov, iovcnt, offset)) ? -1 : REAL(pwritev64) (fd, iov, iovcnt, offset);
}

int
posix_fallocate(int fd, off_t offset, off_t len)
{
	return is_full(fd, offset + len) ? ENOSPC : REAL(posix_fallocate) (fd, offset, len);
}

int
posix_fallocate64(int fd, off64_t offset, off64_t len)
{
	return is_full(fd, offset + len) ? ENOSPC : REAL(posix_fallocate64) (fd, offset, len);
}
