CREATE SCHEMA IF NOT EXISTS "calico";
--> statement-breakpoint
CREATE TABLE "calico"."asset_position_history" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"account_id" text DEFAULT '' NOT NULL,
	"asset_symbol" text NOT NULL,
	"network" text DEFAULT '' NOT NULL,
	"contract_address" text DEFAULT '' NOT NULL,
	"quantity" numeric NOT NULL,
	"value_amount" numeric,
	"value_currency" text,
	"cost_basis_amount" numeric,
	"cost_basis_currency" text,
	"as_of" timestamp with time zone,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	"valid_from" timestamp with time zone DEFAULT now() NOT NULL,
	"valid_to" timestamp with time zone,
	CONSTRAINT "asset_position_history_customer_id_provider_id_account_id_asset_symbol_network_contract_address_valid_from_pk" PRIMARY KEY("customer_id","provider_id","account_id","asset_symbol","network","contract_address","valid_from")
);
--> statement-breakpoint
CREATE TABLE "calico"."asset_positions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"account_id" text DEFAULT '' NOT NULL,
	"asset_symbol" text NOT NULL,
	"network" text DEFAULT '' NOT NULL,
	"contract_address" text DEFAULT '' NOT NULL,
	"quantity" numeric NOT NULL,
	"value_amount" numeric,
	"value_currency" text,
	"cost_basis_amount" numeric,
	"cost_basis_currency" text,
	"as_of" timestamp with time zone,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "asset_positions_customer_id_provider_id_account_id_asset_symbol_network_contract_address_pk" PRIMARY KEY("customer_id","provider_id","account_id","asset_symbol","network","contract_address")
);
--> statement-breakpoint
CREATE TABLE "calico"."input_only_transactions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"account_id" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"category" text,
	"subcategory" text,
	"input_asset_symbol" text,
	"input_contract_address" text,
	"input_amount" numeric,
	"input_value_amount" numeric,
	"input_value_currency" text,
	"transaction_hash" text,
	"network" text,
	"description" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "input_only_transactions_customer_id_provider_id_transaction_id_pk" PRIMARY KEY("customer_id","provider_id","transaction_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."input_output_transactions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"account_id" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"category" text,
	"subcategory" text,
	"input_asset_symbol" text,
	"input_contract_address" text,
	"input_amount" numeric,
	"input_value_amount" numeric,
	"input_value_currency" text,
	"output_asset_symbol" text,
	"output_contract_address" text,
	"output_amount" numeric,
	"output_value_amount" numeric,
	"output_value_currency" text,
	"transaction_hash" text,
	"network" text,
	"description" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "input_output_transactions_customer_id_provider_id_transaction_id_pk" PRIMARY KEY("customer_id","provider_id","transaction_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."output_only_transactions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"account_id" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"category" text,
	"subcategory" text,
	"output_asset_symbol" text,
	"output_contract_address" text,
	"output_amount" numeric,
	"output_value_amount" numeric,
	"output_value_currency" text,
	"transaction_hash" text,
	"network" text,
	"description" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "output_only_transactions_customer_id_provider_id_transaction_id_pk" PRIMARY KEY("customer_id","provider_id","transaction_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."receive_transactions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"account_id" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"category" text,
	"subcategory" text,
	"input_asset_symbol" text,
	"input_contract_address" text,
	"input_amount" numeric,
	"input_value_amount" numeric,
	"input_value_currency" text,
	"from_address" text,
	"to_address" text,
	"transaction_hash" text,
	"network" text,
	"description" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "receive_transactions_customer_id_provider_id_transaction_id_pk" PRIMARY KEY("customer_id","provider_id","transaction_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."send_transactions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"account_id" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"category" text,
	"subcategory" text,
	"output_asset_symbol" text,
	"output_contract_address" text,
	"output_amount" numeric,
	"output_value_amount" numeric,
	"output_value_currency" text,
	"from_address" text,
	"to_address" text,
	"transaction_hash" text,
	"network" text,
	"description" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "send_transactions_customer_id_provider_id_transaction_id_pk" PRIMARY KEY("customer_id","provider_id","transaction_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."transaction_fees" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"position" integer NOT NULL,
	"fee_type" text,
	"asset_symbol" text NOT NULL,
	"amount" numeric NOT NULL,
	"value_amount" numeric,
	"value_currency" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "transaction_fees_customer_id_provider_id_transaction_id_position_pk" PRIMARY KEY("customer_id","provider_id","transaction_id","position")
);
--> statement-breakpoint
CREATE TABLE "calico"."uncategorized_transactions" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"transaction_id" text NOT NULL,
	"account_id" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"category" text,
	"subcategory" text,
	"input_asset_symbol" text,
	"input_contract_address" text,
	"input_amount" numeric,
	"input_value_amount" numeric,
	"input_value_currency" text,
	"output_asset_symbol" text,
	"output_contract_address" text,
	"output_amount" numeric,
	"output_value_amount" numeric,
	"output_value_currency" text,
	"transaction_hash" text,
	"network" text,
	"description" text,
	"raw" jsonb,
	"content_hash" "bytea" NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_run_id" uuid NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "uncategorized_transactions_customer_id_provider_id_transaction_id_pk" PRIMARY KEY("customer_id","provider_id","transaction_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."checkpoints" (
	"customer_id" text NOT NULL,
	"stream" text NOT NULL,
	"cursor" text,
	"watermark" timestamp with time zone,
	"epoch" bigint NOT NULL,
	"pages_done" integer DEFAULT 0 NOT NULL,
	"pass_run_id" uuid,
	"pass_mode" text,
	"pass_started_at" timestamp with time zone,
	"pass_start_time" timestamp with time zone,
	"pass_watermark" timestamp with time zone,
	"pass_partial" boolean DEFAULT false NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "checkpoints_customer_id_stream_pk" PRIMARY KEY("customer_id","stream")
);
--> statement-breakpoint
CREATE TABLE "calico"."credentials" (
	"customer_id" text PRIMARY KEY NOT NULL,
	"access_token_ciphertext" text NOT NULL,
	"refresh_token_ciphertext" text NOT NULL,
	"key_id" text NOT NULL,
	"access_expires_at" timestamp with time zone NOT NULL,
	"refresh_expires_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "calico"."customers" (
	"customer_id" text PRIMARY KEY NOT NULL,
	"status" text DEFAULT 'active' NOT NULL,
	"status_reason" text,
	"sync_interval" interval,
	"next_sync_at" timestamp with time zone DEFAULT now() NOT NULL,
	"not_before" timestamp with time zone,
	"last_success_at" timestamp with time zone,
	"last_full_at" timestamp with time zone,
	"epoch" bigint DEFAULT 0 NOT NULL,
	"lease_until" timestamp with time zone,
	"requested_mode" text,
	"requested_trigger" text,
	"follow_ups" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "customers_status" CHECK (status IN ('active', 'paused', 'reauth_required', 'forbidden', 'not_found', 'not_authorized'))
);
--> statement-breakpoint
CREATE TABLE "calico"."dead_letters" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"customer_id" text NOT NULL,
	"run_id" uuid NOT NULL,
	"stream" text,
	"http_status" integer,
	"code" integer,
	"verdict" text NOT NULL,
	"reason" text NOT NULL,
	"fault" text NOT NULL,
	"evidence" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"replayed_at" timestamp with time zone,
	"discarded_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "calico"."provider_status" (
	"customer_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"state" text NOT NULL,
	"cause" text,
	"since" timestamp with time zone DEFAULT now() NOT NULL,
	"last_ok_at" timestamp with time zone,
	CONSTRAINT "provider_status_customer_id_provider_id_pk" PRIMARY KEY("customer_id","provider_id")
);
--> statement-breakpoint
CREATE TABLE "calico"."quarantined_records" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"customer_id" text NOT NULL,
	"stream" text NOT NULL,
	"record_key" text NOT NULL,
	"raw_text" text NOT NULL,
	"problems" jsonb NOT NULL,
	"run_id" uuid NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"times_seen" integer DEFAULT 1 NOT NULL,
	"resolved_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "calico"."sync_pages" (
	"pass_run_id" uuid NOT NULL,
	"stream" text NOT NULL,
	"page" integer NOT NULL,
	"cursor" text NOT NULL,
	"key_hashes" bigint[] NOT NULL,
	CONSTRAINT "sync_pages_pass_run_id_stream_page_pk" PRIMARY KEY("pass_run_id","stream","page")
);
--> statement-breakpoint
CREATE TABLE "calico"."sync_run_streams" (
	"run_id" uuid NOT NULL,
	"stream" text NOT NULL,
	"pages" integer DEFAULT 0 NOT NULL,
	"fetched" integer DEFAULT 0 NOT NULL,
	"inserted" integer DEFAULT 0 NOT NULL,
	"updated" integer DEFAULT 0 NOT NULL,
	"unchanged" integer DEFAULT 0 NOT NULL,
	"duplicates" integer DEFAULT 0 NOT NULL,
	"quarantined" integer DEFAULT 0 NOT NULL,
	"removed" integer DEFAULT 0 NOT NULL,
	"complete" boolean DEFAULT false NOT NULL,
	"inherited_from" uuid,
	"balanced" boolean GENERATED ALWAYS AS (fetched = inserted + updated + unchanged + duplicates + quarantined) STORED NOT NULL,
	CONSTRAINT "sync_run_streams_run_id_stream_pk" PRIMARY KEY("run_id","stream")
);
--> statement-breakpoint
CREATE TABLE "calico"."sync_runs" (
	"run_id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"customer_id" text NOT NULL,
	"mode" text NOT NULL,
	"trigger" text NOT NULL,
	"status" text DEFAULT 'running' NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL,
	"finished_at" timestamp with time zone,
	"reason" text,
	"epoch" bigint NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"failures" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"waiting_since" timestamp with time zone,
	"waiting_for" text,
	"settling" boolean DEFAULT false NOT NULL,
	"refreshed" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"restarted" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"providers_down" jsonb DEFAULT '[]'::jsonb NOT NULL,
	CONSTRAINT "sync_runs_status" CHECK (status IN ('running', 'succeeded', 'partial', 'waiting', 'failed', 'dead_lettered', 'fenced', 'abandoned'))
);
--> statement-breakpoint
ALTER TABLE "calico"."credentials" ADD CONSTRAINT "credentials_customer_id_customers_customer_id_fk" FOREIGN KEY ("customer_id") REFERENCES "calico"."customers"("customer_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "calico"."sync_run_streams" ADD CONSTRAINT "sync_run_streams_run_id_sync_runs_run_id_fk" FOREIGN KEY ("run_id") REFERENCES "calico"."sync_runs"("run_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "input_only_transactions_by_time" ON "calico"."input_only_transactions" USING btree ("customer_id","occurred_at") WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX "input_output_transactions_by_time" ON "calico"."input_output_transactions" USING btree ("customer_id","occurred_at") WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX "output_only_transactions_by_time" ON "calico"."output_only_transactions" USING btree ("customer_id","occurred_at") WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX "receive_transactions_by_time" ON "calico"."receive_transactions" USING btree ("customer_id","occurred_at") WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX "send_transactions_by_time" ON "calico"."send_transactions" USING btree ("customer_id","occurred_at") WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX "uncategorized_transactions_by_time" ON "calico"."uncategorized_transactions" USING btree ("customer_id","occurred_at") WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX "customers_due" ON "calico"."customers" USING btree ("next_sync_at") WHERE status = 'active';--> statement-breakpoint
CREATE INDEX "dead_letters_open" ON "calico"."dead_letters" USING btree ("created_at") WHERE replayed_at IS NULL AND discarded_at IS NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "quarantined_records_key" ON "calico"."quarantined_records" USING btree ("customer_id","stream","record_key");--> statement-breakpoint
CREATE UNIQUE INDEX "sync_pages_cursor" ON "calico"."sync_pages" USING btree ("pass_run_id","stream",md5("cursor"));--> statement-breakpoint
CREATE INDEX "sync_runs_by_customer" ON "calico"."sync_runs" USING btree ("customer_id","started_at" DESC NULLS LAST);--> statement-breakpoint
CREATE UNIQUE INDEX "sync_runs_open" ON "calico"."sync_runs" USING btree ("customer_id") WHERE status IN ('running', 'waiting');--> statement-breakpoint
CREATE VIEW "calico"."transactions" AS (SELECT 'send' AS kind, customer_id, provider_id, transaction_id, account_id, occurred_at, category, subcategory, NULL::text AS input_asset_symbol, NULL::text AS input_contract_address, NULL::numeric AS input_amount, NULL::numeric AS input_value_amount, NULL::text AS input_value_currency, output_asset_symbol, output_contract_address, output_amount, output_value_amount, output_value_currency, from_address, to_address, transaction_hash, network, description, raw, content_hash, first_seen_at, last_changed_at, last_run_id, removed_at FROM calico.send_transactions
UNION ALL
SELECT 'receive' AS kind, customer_id, provider_id, transaction_id, account_id, occurred_at, category, subcategory, input_asset_symbol, input_contract_address, input_amount, input_value_amount, input_value_currency, NULL::text AS output_asset_symbol, NULL::text AS output_contract_address, NULL::numeric AS output_amount, NULL::numeric AS output_value_amount, NULL::text AS output_value_currency, from_address, to_address, transaction_hash, network, description, raw, content_hash, first_seen_at, last_changed_at, last_run_id, removed_at FROM calico.receive_transactions
UNION ALL
SELECT 'input_only' AS kind, customer_id, provider_id, transaction_id, account_id, occurred_at, category, subcategory, input_asset_symbol, input_contract_address, input_amount, input_value_amount, input_value_currency, NULL::text AS output_asset_symbol, NULL::text AS output_contract_address, NULL::numeric AS output_amount, NULL::numeric AS output_value_amount, NULL::text AS output_value_currency, NULL::text AS from_address, NULL::text AS to_address, transaction_hash, network, description, raw, content_hash, first_seen_at, last_changed_at, last_run_id, removed_at FROM calico.input_only_transactions
UNION ALL
SELECT 'output_only' AS kind, customer_id, provider_id, transaction_id, account_id, occurred_at, category, subcategory, NULL::text AS input_asset_symbol, NULL::text AS input_contract_address, NULL::numeric AS input_amount, NULL::numeric AS input_value_amount, NULL::text AS input_value_currency, output_asset_symbol, output_contract_address, output_amount, output_value_amount, output_value_currency, NULL::text AS from_address, NULL::text AS to_address, transaction_hash, network, description, raw, content_hash, first_seen_at, last_changed_at, last_run_id, removed_at FROM calico.output_only_transactions
UNION ALL
SELECT 'input_output' AS kind, customer_id, provider_id, transaction_id, account_id, occurred_at, category, subcategory, input_asset_symbol, input_contract_address, input_amount, input_value_amount, input_value_currency, output_asset_symbol, output_contract_address, output_amount, output_value_amount, output_value_currency, NULL::text AS from_address, NULL::text AS to_address, transaction_hash, network, description, raw, content_hash, first_seen_at, last_changed_at, last_run_id, removed_at FROM calico.input_output_transactions
UNION ALL
SELECT 'uncategorized' AS kind, customer_id, provider_id, transaction_id, account_id, occurred_at, category, subcategory, input_asset_symbol, input_contract_address, input_amount, input_value_amount, input_value_currency, output_asset_symbol, output_contract_address, output_amount, output_value_amount, output_value_currency, NULL::text AS from_address, NULL::text AS to_address, transaction_hash, network, description, raw, content_hash, first_seen_at, last_changed_at, last_run_id, removed_at FROM calico.uncategorized_transactions);