/*-------------------------------------------------------------------------
 *
 * json_plain.c
 *	  The scanner once more, without SIMD and under other names, to be compared
 *	  with itself.
 *
 *-------------------------------------------------------------------------
 */
#define CDC_NO_SIMD

#include "json_plain.h"

#include "../../src/json.c"
