/*-------------------------------------------------------------------------
 *
 * framing.c
 *	  What stands before the JSON of a key or a value.
 *
 * Pure C without PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "decoder.h"

/*
 * The serializers of schema registries put the number of a schema before the
 * value: Confluent's five bytes, Apicurio's nine, AWS Glue's eighteen.  Where an
 * object of JSON follows, it is JSON Schema's; Avro and Protobuf are bytes.
 */
bool
cdc_decode_framing(const char **bytes, size_t *len, CdcDecodeError *error)
{
	const char *p = *bytes;
	size_t		header = 0;

	if (*len >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
	{
		/* what some producers put before UTF-8 */
		*bytes += 3;
		*len -= 3;
		return true;
	}
	if (*len >= 2 && (memcmp(p, "\xFF\xFE", 2) == 0 || memcmp(p, "\xFE\xFF", 2) == 0))
		return cdc_decode_error(error, 0, "text in UTF-16 is not decoded");
	if (*len == 0 || (unsigned char) p[0] > 3)
		return true;
	if (p[0] == 0 && *len > 5)
		header = p[5] != '{' && *len > 9 && p[9] == '{' ? 9 : 5;
	else if (p[0] == 3 && *len > 18 && (p[1] == 0 || p[1] == 5))
		header = 18;
	if (header > 0 && p[header] == '{' && !(header == 18 && p[1] == 5))
	{
		*bytes += header;
		*len -= header;
		return true;
	}
	if (header == 5)
		return cdc_decode_error(error, 0,
								"Avro or Protobuf of a schema registry (schema %u) is not decoded",
								(unsigned) (unsigned char) p[1] << 24 |
								(unsigned) (unsigned char) p[2] << 16 |
								(unsigned) (unsigned char) p[3] << 8 |
								(unsigned) (unsigned char) p[4]);
	if (header == 18)
		return cdc_decode_error(error, 0,
								"%s of AWS Glue Schema Registry is not decoded",
								p[1] == 5 ? "a compressed value" : "Avro or Protobuf");
	return cdc_decode_error(error, 0, "the bytes are no JSON");
}
