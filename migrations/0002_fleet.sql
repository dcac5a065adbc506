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
