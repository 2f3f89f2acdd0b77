/*-------------------------------------------------------------------------
 *
 * database_command.h
 *	  Commands that the workers make way for, or are to hear of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DATABASE_COMMAND_H
#define CDC_DATABASE_COMMAND_H

/* Called when the library is loaded. */
extern void cdc_database_command_init(void);

#endif							/* CDC_DATABASE_COMMAND_H */
