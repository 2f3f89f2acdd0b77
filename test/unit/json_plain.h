/*-------------------------------------------------------------------------
 *
 * json_plain.h
 *	  The names that json_plain.c gives to the scanner's functions.
 *
 *-------------------------------------------------------------------------
 */
#define cdc_scanner_init plain_scanner_init
#define cdc_scan_peek plain_scan_peek
#define cdc_scan_value plain_scan_value
#define cdc_scan_finish plain_scan_finish
#define cdc_scan_document plain_scan_document
#define cdc_scan_enter plain_scan_enter
#define cdc_scan_member plain_scan_member
#define cdc_scan_expect plain_scan_expect
#define cdc_scan_element plain_scan_element
#define cdc_scan_known plain_scan_known
#define cdc_json_unescape plain_json_unescape
#define cdc_json_int64 plain_json_int64
#define cdc_utf8_length plain_utf8_length
