"""What happens at the sources: the tables, and the statements of each phase.

Both sources get the same kinds of changes: a snapshot, ordinary changes, many
changes of a row in one transaction, key changes, truncates, and a random load.
"""
import random


class Table:
    """A table of a source.  kinds: column -> how to compare it (below)."""

    def __init__(self, name, key, kinds, ddl, partitions=3):
        self.name, self.key, self.kinds, self.ddl = name, key, kinds, ddl
        self.partitions = partitions    # in the connectors that embed the schema


# The text of a value at each side: a timestamp is the only one whose text form
# is not the same everywhere.
MARIADB_TEXT = {'ts': "DATE_FORMAT({}, '%Y-%m-%d %H:%i:%s.%f')"}
POSTGRES_TEXT = {'ts': "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')"}

MARIADB = [
    Table('CUSTOMER', ['CUST_ID'],
          {'CUST_ID': 'int', 'NAME': 'text', 'MKTSEGMENT': 'text'},
          'CREATE TABLE CUSTOMER (CUST_ID int NOT NULL PRIMARY KEY,'
          ' NAME varchar(60) NOT NULL, MKTSEGMENT varchar(10))'),
    Table('ORDERS', ['ORDER_ID'],
          {'ORDER_ID': 'int', 'CUST_ID': 'int', 'AMOUNT': 'dec', 'ORDERED': 'ts', 'NOTE': 'text'},
          'CREATE TABLE ORDERS (ORDER_ID bigint NOT NULL PRIMARY KEY, CUST_ID int,'
          ' AMOUNT decimal(10,2), ORDERED datetime(3), NOTE text)'),
    Table('CK', ['k1', 'k2'], {'k1': 'int', 'k2': 'text', 'v': 'dec'},
          'CREATE TABLE CK (k1 int, k2 varchar(10), v decimal(10,2), PRIMARY KEY (k1, k2))'),
    # a truncate stands in one partition and is ordered only against that one
    Table('TR', ['id'], {'id': 'int', 'v': 'text'},
          'CREATE TABLE TR (id int NOT NULL PRIMARY KEY, v varchar(10))', partitions=1),
]

POSTGRES = [
    Table('customer', ['cust_id'],
          {'cust_id': 'int', 'name': 'text', 'mktsegment': 'text'},
          'CREATE TABLE customer (cust_id int PRIMARY KEY, name text NOT NULL,'
          ' mktsegment varchar(10))'),
    Table('orders', ['order_id'],
          {'order_id': 'int', 'cust_id': 'int', 'amount': 'dec', 'ordered': 'ts', 'note': 'text',
           'paid': 'bool'},
          'CREATE TABLE orders (order_id bigint PRIMARY KEY, cust_id int, amount numeric(10,2),'
          ' ordered timestamp(3), note text, paid boolean)'),
    # values out of line: an update that leaves them alone does not send them
    Table('doc', ['k1', 'k2'], {'k1': 'int', 'k2': 'text', 'v': 'text', 'big': 'text'},
          'CREATE TABLE doc (k1 int, k2 text, v text, big text, PRIMARY KEY (k1, k2));'
          'ALTER TABLE doc ALTER big SET STORAGE EXTERNAL'),
    Table('tr', ['id'], {'id': 'int', 'v': 'text'},
          'CREATE TABLE tr (id int PRIMARY KEY, v text)', partitions=1),
]

# Made when the pipelines are running.
LATE = Table('LATE', ['id'], {'id': 'int', 'v': 'text'},
             'CREATE TABLE LATE (id int NOT NULL PRIMARY KEY, v varchar(10));'
             "INSERT INTO LATE VALUES (1, 'a'), (2, 'b'); UPDATE LATE SET v = 'c' WHERE id = 2")

# There before the connectors come: their snapshot.
SNAPSHOT = """
INSERT INTO customer VALUES (8001, 'Acme Corp', 'AUTOMOBILE'), (8002, 'Globex', 'BUILDING'),
    (8003, 'Initech', NULL);
INSERT INTO orders (order_id, cust_id, amount, ordered, note) VALUES
    (1, 8001, 99.90, '2024-02-29 12:34:56.789', 'first'), (2, 8002, -0.01, '1970-01-01 00:00:00', ''),
    (3, NULL, NULL, NULL, NULL);
INSERT INTO tr VALUES (1, 'a'), (2, 'b');
"""

CHANGES = """
INSERT INTO customer VALUES (8004, 'Umbrella', 'MACHINERY');
UPDATE customer SET name = 'Umbrella Ltd' WHERE cust_id = 8004;
DELETE FROM customer WHERE cust_id = 8004;
UPDATE customer SET cust_id = 9002 WHERE cust_id = 8002;
START TRANSACTION;
INSERT INTO customer VALUES (8010, 'v1', 'FURNITURE');
UPDATE customer SET name = 'v2' WHERE cust_id = 8010;
UPDATE customer SET name = 'v3', mktsegment = 'HOUSEHOLD' WHERE cust_id = 8010;
UPDATE customer SET mktsegment = 'RETAIL' WHERE cust_id IN (8001, 8003);
INSERT INTO orders (order_id, cust_id, amount, note) VALUES (4, 8010, 12345678.91, 'same transaction');
DELETE FROM customer WHERE cust_id = 8010;
COMMIT;
START TRANSACTION;
INSERT INTO customer VALUES (8011, 'rolled back', NULL);
UPDATE customer SET name = 'rolled back' WHERE cust_id = 8001;
ROLLBACK;
START TRANSACTION;
DELETE FROM customer WHERE cust_id = 8001;
INSERT INTO customer VALUES (8001, 'Acme again', NULL);
COMMIT;
INSERT INTO customer VALUES (8020, 'Zażółć "Ünïcode" 漢字 😀 /', 'BUILDING');
UPDATE orders SET cust_id = 9002, note = 'line
break	tab' WHERE order_id = 2;
UPDATE orders SET amount = 0, ordered = '2038-01-19 03:14:07.999' WHERE order_id = 3;
TRUNCATE TABLE tr;
INSERT INTO tr VALUES (3, 'c');
"""

SNAPSHOT_ONLY_MARIADB = "INSERT INTO ck VALUES (1, 'a', 1.10), (1, 'b', 2.20), (2, 'a', NULL);"
CHANGES_ONLY_MARIADB = """
UPDATE ck SET v = v + 1;
UPDATE ck SET k2 = 'c' WHERE k1 = 2;
START TRANSACTION;
UPDATE ck SET k1 = 7 WHERE k2 = 'a';
UPDATE ck SET k1 = 1 WHERE k2 = 'a';
COMMIT;
"""

SNAPSHOT_ONLY_POSTGRES = """
INSERT INTO doc VALUES (1, 'a', 'v1', repeat('x', 9000)), (2, 'b', 'v2', repeat('y', 9000)),
    (3, 'c', 'v3', 'small');
"""
CHANGES_ONLY_POSTGRES = """
UPDATE doc SET v = 'v1b' WHERE k1 = 1;
UPDATE doc SET k2 = 'bb' WHERE k1 = 2;
DELETE FROM doc WHERE k1 = 3;
UPDATE doc SET v = 'v2b' WHERE k1 = 2;
UPDATE doc SET big = repeat('z', 9000) WHERE k1 = 1;
UPDATE doc SET v = 'v1c' WHERE k1 = 1;
BEGIN;
INSERT INTO doc VALUES (10, 'x', '1', NULL);
SAVEPOINT s;
INSERT INTO doc VALUES (11, 'x', '1', NULL);
ROLLBACK TO s;
UPDATE doc SET v = '2' WHERE k1 = 10;
COMMIT;
UPDATE orders SET paid = (order_id % 2 = 0) WHERE order_id < 4;
"""


def snapshot(source):
    return SNAPSHOT + (SNAPSHOT_ONLY_MARIADB if source == 'mariadb' else SNAPSHOT_ONLY_POSTGRES)


def changes(source):
    return CHANGES + (CHANGES_ONLY_MARIADB if source == 'mariadb' else CHANGES_ONLY_POSTGRES)


def random_load(seed, statements):
    """Statements over few keys, so that they meet often; both sources take them."""
    rng = random.Random(seed)
    customers, orders = range(100, 140), range(100, 160)
    out, left = [], 0
    while statements > 0 or left > 0:
        if left == 0:
            out.append('START TRANSACTION;')
            left = rng.randint(1, 8)
        what, key = rng.random(), rng.choice(customers)
        if what < 0.25:
            out.append(f"DELETE FROM customer WHERE cust_id = {key};")
            out.append(f"INSERT INTO customer VALUES ({key}, 'n{rng.randint(0, 999)}', NULL);")
        elif what < 0.45:
            out.append(f"UPDATE customer SET name = 'n{rng.randint(0, 999)}',"
                       f" mktsegment = 's{key % 7}' WHERE cust_id = {key};")
        elif what < 0.5:
            other = rng.choice(customers)
            out.append(f"DELETE FROM customer WHERE cust_id = {other};")
            if other != key:
                out.append(f"UPDATE customer SET cust_id = {other} WHERE cust_id = {key};")
        elif what < 0.6:
            out.append(f"DELETE FROM customer WHERE cust_id = {key};")
        elif what < 0.8:
            order = rng.choice(orders)
            out.append(f"DELETE FROM orders WHERE order_id = {order};")
            out.append("INSERT INTO orders (order_id, cust_id, amount, ordered) VALUES"
                       f" ({order}, {key}, {rng.randint(-10**9, 10**9) / 100:.2f},"
                       f" '20{rng.randint(10, 37)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}"
                       f" 0{rng.randint(0, 9)}:11:12.{rng.randint(0, 999):03}');")
        else:
            order = rng.choice(orders)
            out.append(f"UPDATE orders SET amount = amount / 2, note = 'o{rng.randint(0, 99)}'"
                       f" WHERE order_id BETWEEN {order} AND {order + 3};")
        left -= 1
        statements -= 1
        if left == 0:
            out.append('COMMIT;' if rng.random() < 0.9 else 'ROLLBACK;')
    return '\n'.join(out)


def sentinel(source, number):
    """A last row of every table: what comes before it is in the topic too."""
    rows = ["INSERT INTO customer VALUES (-{0}, 'sentinel', NULL);",
            "INSERT INTO orders (order_id, note) VALUES (-{0}, 'sentinel');",
            "INSERT INTO tr VALUES (-{0}, 'sentinel');",
            "INSERT INTO ck VALUES (-{0}, 's', NULL);" if source == 'mariadb'
            else "INSERT INTO doc VALUES (-{0}, 's', NULL, NULL);"]
    return '\n'.join(rows).format(number)
