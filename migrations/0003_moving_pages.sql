DROP INDEX "calico"."sync_pages_cursor";--> statement-breakpoint
ALTER TABLE "calico"."checkpoints" ADD COLUMN "pass_walk" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."sync_pages" ADD COLUMN "walk" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "calico"."sync_pages" ADD COLUMN "head_hashes" bigint[];--> statement-breakpoint
ALTER TABLE "calico"."sync_run_streams" ADD COLUMN "moving" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "sync_pages_cursor" ON "calico"."sync_pages" USING btree ("pass_run_id","stream","walk",md5("cursor"));