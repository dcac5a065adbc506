-- A statement that finds what must not be committed fails by itself with this, so that a COMMIT can go out right behind it.
CREATE FUNCTION "calico"."refuse"(reason text) RETURNS integer LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'CS001', MESSAGE = reason; END $$;
