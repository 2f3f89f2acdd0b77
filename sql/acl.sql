-- Who may do what with each object of the extension: a new one must be put on
-- these lists, by somebody who has thought about it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
CREATE VIEW pg_temp.members AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'cdcsync';

-- The role that owns the extension is called "owner" here.
CREATE FUNCTION pg_temp.acl(acl aclitem[], kind "char", owner oid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN owner THEN 'owner' ELSE a.grantee::regrole::text END
					  || ': ' || lower(a.privilege_type), ', ' ORDER BY a.grantee DESC)
	FROM aclexplode(coalesce(acl, acldefault(kind, owner))) a WHERE a.grantee <> owner OR kind = 'f'
$$;

-- Functions.  Those that everybody may call check whose the pipeline is, or do
-- nothing but compute; none may be SECURITY DEFINER but the event triggers.
SELECT p.oid::regprocedure AS function, CASE WHEN p.prosecdef THEN 'definer' ELSE '' END AS security,
	   pg_temp.acl(p.proacl, 'f', p.proowner) AS privileges
FROM pg_proc p JOIN pg_temp.members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
ORDER BY p.prosecdef DESC, p.pronamespace::regnamespace::text COLLATE "C", p.oid::regprocedure::text COLLATE "C";

-- whatever is not in C finds its names in pg_catalog
SELECT p.oid::regprocedure AS function, p.proconfig AS settings
FROM pg_proc p JOIN pg_temp.members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	 JOIN pg_language l ON l.oid = p.prolang
WHERE l.lanname <> 'c' OR p.prosecdef
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- Relations: everybody may read, and sees of the tables what the policies let
-- him see; views ask for the privileges of who reads them.
SELECT c.oid::regclass AS relation, c.relkind AS kind,
	   CASE WHEN c.relkind = 'r' THEN c.relrowsecurity::text ELSE '' END AS policies,
	   array_to_string(c.reloptions, ', ') AS options,
	   pg_temp.acl(c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner) AS privileges
FROM pg_class c JOIN pg_temp.members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
ORDER BY c.relkind = 'S', c.relkind, c.oid::regclass::text COLLATE "C";

-- tables without a policy, and policies for more than to read
SELECT c.oid::regclass AS relation
FROM pg_class c JOIN pg_temp.members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = 'r');
SELECT polrelid::regclass, polname FROM pg_policy WHERE polrelid IN (SELECT objid FROM pg_temp.members) AND polcmd <> 'r';

-- the wrapper: who may make servers, and so connect to any host and port
SELECT fdwname, pg_temp.acl(fdwacl, 'F', fdwowner) AS privileges
FROM pg_foreign_data_wrapper WHERE fdwname = 'cdcsync_kafka';
SELECT nspname, pg_temp.acl(nspacl, 'n', nspowner) AS privileges FROM pg_namespace WHERE nspname = 'cdcsync';

-- what there is beside these
SELECT m.classid::regclass AS catalog, count(*) FROM pg_temp.members m
WHERE m.classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass) AND NOT (m.classid = 'pg_type'::regclass)
GROUP BY m.classid ORDER BY m.classid::regclass::text COLLATE "C";
-- types are row types alone
SELECT t.oid::regtype FROM pg_type t JOIN pg_temp.members m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
WHERE t.typrelid = 0 AND t.typelem = 0;

-- settings, once the library is there: an unprivileged role can set none of them
SELECT json_parse('1');
SELECT name, context FROM pg_settings WHERE name LIKE 'cdcsync.%' AND name <> 'cdcsync.fault' ORDER BY 1;
DROP VIEW pg_temp.members;
DROP FUNCTION pg_temp.acl;
