// liburing as Swift sees it.
#pragma once

#include <liburing.h>
