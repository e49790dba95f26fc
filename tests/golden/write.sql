-- A later version goes on with a golden store: writes of every kind, to rows on every level.
INSERT INTO numbers(id, t) VALUES(200000, 'later');
UPDATE numbers SET t = t || '!' WHERE id % 7 = 0;
DELETE FROM numbers WHERE id BETWEEN 100 AND 200;
BEGIN;
REPLACE INTO anything VALUES('long', 'short now'), ('last', 'later');
DELETE FROM people WHERE born > 2940;
INSERT INTO plain VALUES(3, 'later');
SAVEPOINT s;
DELETE FROM anything;
ROLLBACK TO s;
COMMIT;
INSERT INTO trimmed VALUES('new  ', 0.5, x'');
DELETE FROM after;
INSERT OR IGNORE INTO numbers(id, t) VALUES(200000, 'ignored');
