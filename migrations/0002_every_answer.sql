CREATE TABLE "calico"."contract_drift" (
	"endpoint" text NOT NULL,
	"path" text NOT NULL,
	"kind" text NOT NULL,
	"detail" text DEFAULT '' NOT NULL,
	"sample" text,
	"count" bigint NOT NULL,
	"first_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"first_run_id" uuid NOT NULL,
	CONSTRAINT "contract_drift_endpoint_path_kind_detail_pk" PRIMARY KEY("endpoint","path","kind","detail")
);
--> statement-breakpoint
CREATE TABLE "calico"."fleet_pause" (
	"only_row" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"situation" text NOT NULL,
	"reason" text NOT NULL,
	"refusals" integer DEFAULT 1 NOT NULL,
	"since" timestamp with time zone NOT NULL,
	"until" timestamp with time zone NOT NULL,
	"probe_customer_id" text,
	"probe_epoch" bigint,
	"opened_at" timestamp with time zone,
	CONSTRAINT "fleet_pause_only_row" CHECK ("calico"."fleet_pause"."only_row")
);
--> statement-breakpoint
CREATE TABLE "calico"."event_outbox" (
	"seq" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "calico"."event_outbox_seq_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"event_id" uuid DEFAULT gen_random_uuid() NOT NULL,
	"event_type" text NOT NULL,
	"customer_id" text NOT NULL,
	"occurred_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"data" json NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"last_error" text,
	"settled_at" timestamp with time zone,
	CONSTRAINT "event_outbox_status" CHECK (status IN ('pending', 'delivered', 'dead'))
);
--> statement-breakpoint
CREATE TABLE "calico"."held_removal_rows" (
	"hold_id" uuid NOT NULL,
	"customer_id" text NOT NULL,
	"stream" text NOT NULL,
	"key_hash" bigint NOT NULL,
	"record_key" text[] NOT NULL,
	"held_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "held_removal_rows_hold_id_key_hash_pk" PRIMARY KEY("hold_id","key_hash")
);
--> statement-breakpoint
CREATE TABLE "calico"."held_removals" (
	"hold_id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"customer_id" text NOT NULL,
	"stream" text NOT NULL,
	"run_id" uuid NOT NULL,
	"held_rows" integer NOT NULL,
	"live_rows" integer NOT NULL,
	"reason" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"confirmed_at" timestamp with time zone,
	"approved_at" timestamp with time zone,
	"rejected_at" timestamp with time zone,
	"superseded_at" timestamp with time zone,
	"removed_rows" integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
DROP INDEX "calico"."dead_letters_open";--> statement-breakpoint
ALTER TABLE "calico"."dead_letters" ALTER COLUMN "run_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."checkpoints" ADD COLUMN "pass_live_rows" integer;--> statement-breakpoint
ALTER TABLE "calico"."credentials" ADD COLUMN "expiry_announced_for" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "calico"."dead_letters" ADD COLUMN "cause" text DEFAULT 'not recorded' NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."dead_letters" ADD COLUMN "resolved_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "calico"."quarantined_records" ADD COLUMN "resolution" text;--> statement-breakpoint
ALTER TABLE "calico"."sync_run_streams" ADD COLUMN "held" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."sync_run_streams" ADD COLUMN "removal_note" text;--> statement-breakpoint
CREATE INDEX "event_outbox_due" ON "calico"."event_outbox" USING btree ("next_attempt_at") WHERE status = 'pending';--> statement-breakpoint
CREATE INDEX "event_outbox_in_order" ON "calico"."event_outbox" USING btree ("customer_id","seq") WHERE status = 'pending' AND event_type LIKE 'customer.%';--> statement-breakpoint
CREATE INDEX "held_removal_rows_seen" ON "calico"."held_removal_rows" USING btree ("customer_id","stream","key_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "held_removals_open" ON "calico"."held_removals" USING btree ("customer_id","stream") WHERE approved_at IS NULL AND rejected_at IS NULL AND superseded_at IS NULL;--> statement-breakpoint
CREATE INDEX "credentials_refresh_expires" ON "calico"."credentials" USING btree ("refresh_expires_at");--> statement-breakpoint
CREATE INDEX "dead_letters_by_customer" ON "calico"."dead_letters" USING btree ("customer_id","created_at");--> statement-breakpoint
CREATE INDEX "dead_letters_by_run" ON "calico"."dead_letters" USING btree ("run_id");--> statement-breakpoint
CREATE INDEX "quarantined_records_open" ON "calico"."quarantined_records" USING btree ("customer_id") WHERE resolved_at IS NULL;--> statement-breakpoint
CREATE INDEX "dead_letters_open" ON "calico"."dead_letters" USING btree ("cause","created_at") WHERE replayed_at IS NULL AND discarded_at IS NULL AND resolved_at IS NULL;