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
ALTER TABLE "calico"."checkpoints" ADD COLUMN "pass_live_rows" integer;--> statement-breakpoint
ALTER TABLE "calico"."sync_run_streams" ADD COLUMN "held" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."sync_run_streams" ADD COLUMN "removal_note" text;--> statement-breakpoint
CREATE INDEX "held_removal_rows_seen" ON "calico"."held_removal_rows" USING btree ("customer_id","stream","key_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "held_removals_open" ON "calico"."held_removals" USING btree ("customer_id","stream") WHERE approved_at IS NULL AND rejected_at IS NULL AND superseded_at IS NULL;