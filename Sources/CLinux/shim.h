#include <sys/vfs.h>

/* Of unistd.h, which Swift's Glibc module reads without _GNU_SOURCE. */
int syncfs(int descriptor);
