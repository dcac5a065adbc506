-- Analysts read through the role calico_analyst: the data tables and the view over them, nothing of the worker's own.
-- A role belongs to the whole server: it may exist already, another migration may be making it right now, or this user
-- may not be allowed to make it. Only the last needs a person, and does not stop the migration.
DO $$
BEGIN
  CREATE ROLE calico_analyst NOLOGIN;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN NULL;
  WHEN insufficient_privilege THEN
    RAISE WARNING 'calico-sync: role calico_analyst does not exist and % may not create it. An administrator can: CREATE ROLE calico_analyst NOLOGIN; then GRANT USAGE ON SCHEMA calico and SELECT on its data tables.', current_user;
END
$$;
--> statement-breakpoint
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'calico_analyst') THEN
    GRANT USAGE ON SCHEMA calico TO calico_analyst;
    GRANT SELECT ON
      calico.asset_positions, calico.asset_position_history, calico.transactions,
      calico.send_transactions, calico.receive_transactions, calico.input_only_transactions,
      calico.output_only_transactions, calico.input_output_transactions, calico.uncategorized_transactions,
      calico.transaction_fees
    TO calico_analyst;
  END IF;
END
$$;
