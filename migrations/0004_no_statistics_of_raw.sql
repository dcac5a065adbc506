-- No statement of the worker's and no usual question compares these two columns' values with a constant, and an ANALYZE sorts a sample of
-- 30,000 of each: raw alone is half of its time. autovacuum analyzes a table each time it has grown by a tenth, so a first load pays that
-- again and again. (drizzle does not know of statistics targets.)
ALTER TABLE "calico"."asset_positions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."asset_position_history" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."send_transactions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."receive_transactions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."input_only_transactions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."output_only_transactions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."input_output_transactions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."uncategorized_transactions" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
--> statement-breakpoint
ALTER TABLE "calico"."transaction_fees" ALTER COLUMN "raw" SET STATISTICS 0, ALTER COLUMN "content_hash" SET STATISTICS 0;
