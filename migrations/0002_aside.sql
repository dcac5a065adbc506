DROP INDEX "calico"."dead_letters_open";--> statement-breakpoint
ALTER TABLE "calico"."dead_letters" ALTER COLUMN "run_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."dead_letters" ADD COLUMN "cause" text DEFAULT 'not recorded' NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."dead_letters" ADD COLUMN "resolved_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "calico"."quarantined_records" ADD COLUMN "resolution" text;--> statement-breakpoint
CREATE INDEX "dead_letters_by_customer" ON "calico"."dead_letters" USING btree ("customer_id","created_at");--> statement-breakpoint
CREATE INDEX "dead_letters_by_run" ON "calico"."dead_letters" USING btree ("run_id");--> statement-breakpoint
CREATE INDEX "dead_letters_open" ON "calico"."dead_letters" USING btree ("cause","created_at") WHERE replayed_at IS NULL AND discarded_at IS NULL AND resolved_at IS NULL;