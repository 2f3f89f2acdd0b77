/*-------------------------------------------------------------------------
 *
 * kafka_file.h
 *	  Certificates and keys in files of the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_FILE_H
#define CDC_KAFKA_FILE_H

/* Does it look like the text of a PEM file? */
extern bool cdc_is_pem(const char *text);

/* An error unless the current user may name this file in an option. */
extern void cdc_kafka_file_check(const char *name, const char *value);

/* The text of the file that an option names; an error if it is no PEM file. */
extern char *cdc_kafka_file_read(const char *name, const char *path);

#endif							/* CDC_KAFKA_FILE_H */
