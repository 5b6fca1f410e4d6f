#pragma once
#define ZLIB_CONST
#include <zlib.h>

/// Begins to undo gzip members, which zlib's own header lets begin by a macro only.
static inline int ydbfs_gunzip_begin(z_stream *stream) { return inflateInit2(stream, 15 + 16); }
