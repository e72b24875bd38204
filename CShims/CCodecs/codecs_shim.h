// The block codecs as Swift sees them.
#pragma once

#include <lz4.h>
#include <zstd.h>
