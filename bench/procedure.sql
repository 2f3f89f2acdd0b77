-- What bench.py compares with: one jsonb row a record, and the procedure that
-- people write by hand over such rows (delete and insert of the latest change
-- of each key, found by rank()).  bench_events is what Redshift's streaming view
-- would be: the columns of the landing with the value as parsed JSON.

CREATE TABLE bench_events (
	kafka_partition bigint,
	kafka_offset bigint,
	kafka_timestamp_type "char",
	kafka_timestamp timestamp,
	kafka_key bytea,
	kafka_headers jsonb,
	refresh_time timestamp,
	payload jsonb
);

CREATE TABLE bench_stg (
	customer_id varchar(256),
	customer_name varchar(256),
	market_segment varchar(256),
	ts_ms bigint,
	op varchar(2),
	record_rank bigint,
	refresh_time timestamp
);

CREATE TABLE bench_last_extract (
	process_name varchar(256),
	latest_refresh_time timestamp
);
INSERT INTO bench_last_extract VALUES ('customer', '1983-01-01');

CREATE PROCEDURE bench_sync_customer() LANGUAGE plpgsql AS $$
DECLARE
	last_refresh_time timestamp;
BEGIN
	SELECT max(latest_refresh_time) INTO last_refresh_time
	FROM bench_last_extract WHERE process_name = 'customer';

	TRUNCATE bench_stg;

	INSERT INTO bench_stg
	SELECT coalesce(payload->'after'->>'CUST_ID', payload->'before'->>'CUST_ID')::varchar,
		   payload->'after'->>'NAME',
		   payload->'after'->>'MKTSEGMENT',
		   (payload->>'ts_ms')::bigint,
		   payload->>'op',
		   rank() OVER (PARTITION BY coalesce(payload->'after'->>'CUST_ID', payload->'before'->>'CUST_ID')::varchar
						ORDER BY (payload->>'ts_ms')::bigint DESC),
		   refresh_time
	FROM bench_events
	WHERE refresh_time > last_refresh_time AND payload IS NOT NULL;

	DELETE FROM bench_target USING bench_stg
	WHERE bench_target.customer_id = bench_stg.customer_id;

	INSERT INTO bench_target
	SELECT customer_id, customer_name, market_segment, refresh_time
	FROM bench_stg WHERE record_rank = 1 AND op <> 'd';

	INSERT INTO bench_last_extract
	SELECT 'customer', max(refresh_time) FROM bench_target;
END
$$;
