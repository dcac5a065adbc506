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
