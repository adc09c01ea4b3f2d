BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	detail TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (id), 
	CONSTRAINT uq_audit_digest UNIQUE (digest)
);
INSERT INTO "audit" VALUES(1,'2026-11-21T21:04:33Z','examiner@laptop','upgrade','{"copy":"/case/case.db.before-0003","from":"0002","schema":"0003","sha256":"6058a2d48783a1eb96cdcf5f12fff559fdc8d4f899540aea8581fec902bfd259","size":950272,"version":"0.2.0"}','0000000000000000000000000000000000000000000000000000000000000000','dea4c2a6145cc1ecbf7c5c630d59a6f4c01d5f0f5ccd90090fa8a3fa4c2b7047');
INSERT INTO "audit" VALUES(2,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":1,"ids":[[1,1]],"rows":"ft8=","sha256":"2b29d49b0a6ea6121fccd5f8b474006b04928d9f38cc0d71859452af0f8d2f9a","table":"model"}]}','dea4c2a6145cc1ecbf7c5c630d59a6f4c01d5f0f5ccd90090fa8a3fa4c2b7047','b759fdf7040a195c77dabc0f65de4632c9ec72f1de7acc4ff32bff12c25ff144');
INSERT INTO "audit" VALUES(3,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":1,"ids":[[1,1]],"rows":"qwU=","sha256":"6f5bee65f8322a3ac6ec6036c8e5428a1c804e34954d6062f5dff5721d8d5ca3","table":"run"}]}','b759fdf7040a195c77dabc0f65de4632c9ec72f1de7acc4ff32bff12c25ff144','e9677c21f9b50f4389c06a93a8d87f9ccd0cb85561f424616b82562291012f8a');
INSERT INTO "audit" VALUES(4,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":11,"ids":[[1,11]],"rows":"3OpDxTIJB4FZsq5g8is5/dYm5EhhWg==","sha256":"dca2bd19029d68bc3df307c0b35bc9b1baf581d315d2b0fec419ff6e3d419a9a","table":"image"}]}','e9677c21f9b50f4389c06a93a8d87f9ccd0cb85561f424616b82562291012f8a','22d743b8a9e396f09d6886354786a38589a9ed0f207c948af34b0ff9fd6dfe69');
INSERT INTO "audit" VALUES(5,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":15,"ids":[[1,15]],"rows":"kTazUeeaCWDo+P4VD6axwv4rCwNkyl9XpKFrFyiH","sha256":"e5ddbd1897606bc7a8dfb98ef6c88fffc49f33ee1bc054fc7f7f026a9a51c554","table":"file"}]}','22d743b8a9e396f09d6886354786a38589a9ed0f207c948af34b0ff9fd6dfe69','5474633ba7a49c615ca6ddf73508057907a8c1ddde893f89ac492e6f75d00341');
INSERT INTO "audit" VALUES(6,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":11,"ids":[[1,11]],"rows":"DZn1ZGl+gmXtfp/MzLEETMSgdZQ9Bw==","sha256":"17d469d366bb02484a6b856850c2fefa899e2b201db1e3cee55bfe40da8b5c25","table":"embedding"}]}','5474633ba7a49c615ca6ddf73508057907a8c1ddde893f89ac492e6f75d00341','2aafea0a2677a399bc5e417143331ea64bd9fc923aa195ca9500b91a9d7868a6');
INSERT INTO "audit" VALUES(7,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":1,"ids":[[1,1]],"rows":"Xxo=","sha256":"2a26a1903b92d7b523c05bf28117723bb98bb0afeea783de7b88b0ad8ac9b655","table":"account"}]}','2aafea0a2677a399bc5e417143331ea64bd9fc923aa195ca9500b91a9d7868a6','9772bee38fdc3d4f38381dc0afae3a6fc00d631d5fcfb3f67a65e5f577128fd9');
INSERT INTO "audit" VALUES(8,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":1,"ids":[[1,1]],"rows":"qCk=","sha256":"3f576ba9de640b0039e547b02e1805dfee0686d714f130abbafe60113efa0c72","table":"gone"}]}','9772bee38fdc3d4f38381dc0afae3a6fc00d631d5fcfb3f67a65e5f577128fd9','d9c52b1251b16652e217b68b0cd7232ca8aae1e1ebb53a1fee369904c130d01e');
INSERT INTO "audit" VALUES(9,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":5,"ids":[[1,5]],"model":1,"rows":"soIViBnsA3vQXA==","sha256":"68d77e7107d747eba1ef924ea7165230aad402530800f8fcd5eb990d1f02c439","table":"labels"}]}','d9c52b1251b16652e217b68b0cd7232ca8aae1e1ebb53a1fee369904c130d01e','18995c21d70daa34ae6e5071e1c649566a6d255035da1f89895793d5b8e3ec6f');
INSERT INTO "audit" VALUES(10,'2026-11-21T21:04:33Z','examiner@laptop','seal','{"rows":[{"count":5,"ids":[[7,11]],"model":1,"rows":"tYdJkRgmwYYFyA==","sha256":"e925d86a29a88038d3d818ad83968bbad4cc7f9a981519f82ecda019acdd5043","table":"labels"}]}','18995c21d70daa34ae6e5071e1c649566a6d255035da1f89895793d5b8e3ec6f','aeea48c3b6e96c0d932ce0fa0e05a2ec877ecab15f9563b9f2dd21e4afd77535');
CREATE TABLE case_fact (
	name VARCHAR(32) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_case_fact PRIMARY KEY (name)
);
CREATE TABLE embedding (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	image_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	vector BLOB NOT NULL, 
	CONSTRAINT pk_embedding PRIMARY KEY (id), 
	CONSTRAINT fk_embedding_image_id FOREIGN KEY(image_id) REFERENCES image (id), 
	CONSTRAINT fk_embedding_model_id FOREIGN KEY(model_id) REFERENCES model (id), 
	CONSTRAINT fk_embedding_run_id FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT uq_embedding_model_id_image_id UNIQUE (model_id, image_id)
);
INSERT INTO "embedding" VALUES(1,1,1,1,X'003C0000');
INSERT INTO "embedding" VALUES(2,1,2,1,X'FF3AC237');
INSERT INTO "embedding" VALUES(3,1,3,1,X'3D38C93A');
INSERT INTO "embedding" VALUES(4,1,4,1,X'B32AFD3B');
INSERT INTO "embedding" VALUES(5,1,5,1,X'04B7313B');
INSERT INTO "embedding" VALUES(6,1,6,1,X'8EBA9738');
INSERT INTO "embedding" VALUES(7,1,7,1,X'F5BBB12E');
INSERT INTO "embedding" VALUES(8,1,8,1,X'5DBB40B6');
INSERT INTO "embedding" VALUES(9,1,9,1,X'EDB84EBA');
INSERT INTO "embedding" VALUES(10,1,10,1,X'02B1E7BB');
INSERT INTO "embedding" VALUES(11,1,11,1,X'793584BB');
CREATE TABLE failure (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	source_id INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	stage VARCHAR(16) NOT NULL, 
	error VARCHAR(100) NOT NULL, 
	message TEXT NOT NULL, 
	size BIGINT, 
	mtime_ns BIGINT, 
	resolved_run_id INTEGER, sha256 VARCHAR(64), 
	CONSTRAINT pk_failure PRIMARY KEY (id), 
	CONSTRAINT ck_failure_stage CHECK (stage IN ('walk', 'stat', 'read', 'decode', 'embed')), 
	CONSTRAINT fk_failure_resolved_run_id FOREIGN KEY(resolved_run_id) REFERENCES run (id), 
	CONSTRAINT fk_failure_run_id FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_failure_source_id FOREIGN KEY(source_id) REFERENCES source (id)
);
CREATE TABLE file (
	id INTEGER NOT NULL, 
	source_id INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	image_id INTEGER NOT NULL, 
	size BIGINT NOT NULL, 
	mtime_ns BIGINT NOT NULL, 
	atime_ns BIGINT, 
	ctime_ns BIGINT, 
	settled BOOLEAN NOT NULL, 
	first_run_id INTEGER NOT NULL, 
	gone_run_id INTEGER, 
	CONSTRAINT pk_file PRIMARY KEY (id), 
	CONSTRAINT fk_file_first_run_id FOREIGN KEY(first_run_id) REFERENCES run (id), 
	CONSTRAINT fk_file_gone_run_id FOREIGN KEY(gone_run_id) REFERENCES run (id), 
	CONSTRAINT fk_file_image_id FOREIGN KEY(image_id) REFERENCES image (id), 
	CONSTRAINT fk_file_source_id FOREIGN KEY(source_id) REFERENCES source (id)
);
INSERT INTO "file" VALUES(1,1,'a/p0.png',1,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(2,1,'b/p0.png',1,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(3,1,'a/p1.png',2,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(4,1,'a/p2.png',3,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(5,1,'a/p3.png',4,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(6,1,'b/p3.png',4,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(7,1,'a/p4.png',5,100,1,NULL,NULL,1,1,1);
INSERT INTO "file" VALUES(8,1,'a/p5.png',6,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(9,1,'a/p6.png',7,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(10,1,'b/p6.png',7,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(11,1,'a/p7.png',8,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(12,1,'a/p8.png',9,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(13,1,'a/p9.png',10,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(14,1,'b/p9.png',10,100,1,NULL,NULL,1,1,NULL);
INSERT INTO "file" VALUES(15,1,'a/p10.png',11,100,1,NULL,NULL,1,1,NULL);
CREATE TABLE hash_entry (
	digest BLOB NOT NULL, 
	list_id INTEGER NOT NULL, 
	category TEXT, 
	CONSTRAINT pk_hash_entry PRIMARY KEY (digest, list_id), 
	CONSTRAINT fk_hash_entry_list_id FOREIGN KEY(list_id) REFERENCES hash_list (id)
)
 WITHOUT ROWID

;
CREATE TABLE hash_list (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	form VARCHAR(16) NOT NULL, 
	file_sha256 VARCHAR(64) NOT NULL, 
	imported_at VARCHAR(32) NOT NULL, 
	entries BIGINT NOT NULL, 
	CONSTRAINT pk_hash_list PRIMARY KEY (id), 
	CONSTRAINT uq_hash_list_name UNIQUE (name)
);
CREATE TABLE image (
	id INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	sha1 VARCHAR(40) NOT NULL, 
	md5 VARCHAR(32) NOT NULL, 
	size BIGINT NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	mime VARCHAR(64) NOT NULL, 
	partial BOOLEAN NOT NULL, 
	exif JSON NOT NULL, 
	first_run_id INTEGER NOT NULL, 
	CONSTRAINT pk_image PRIMARY KEY (id), 
	CONSTRAINT ck_image_sha256 CHECK (length(sha256) = 64), 
	CONSTRAINT ck_image_size CHECK (width > 0 AND height > 0), 
	CONSTRAINT fk_image_first_run_id FOREIGN KEY(first_run_id) REFERENCES run (id), 
	CONSTRAINT uq_image_sha256 UNIQUE (sha256)
);
INSERT INTO "image" VALUES(1,'169b5b823c62b64ca7e5f8456a13c8d5d06f4ece522a58bc2b8a784dcf3609b0','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(2,'f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(3,'3946ca64ff78d93ca61090a437cbb6b3d2ca0d488f5f9ccf3059608368b27693','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(4,'43bb00d0ce7790a53b91256b370c887b24791a5539a6fbfb70c5870e8c91ae5d','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(5,'ab71fc4c8a1c4d62b9202b36ee7c07dd398a0907a37037bd8c3959d6af573608','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(6,'536c351ae15e5f5e3dc37bcc5dea8ab641e70fc0431a088a1d684aef2ebf3e5b','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(7,'7d087a2e212c110e851c7b6fdc2853a41e7db1690beef7a9c11b3a26ee77e853','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(8,'03fbd36c05856bca596b0bcb4466f4f30f0119a41be2b9fcebfa71d68178b116','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',1,'{}',1);
INSERT INTO "image" VALUES(9,'9b85c0828dcfbc883726fc200c987baa9826da6ba6a358643a69a52d8698d72e','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(10,'26148c43a19c95f0115e594c688e9f6e92d0bcdbdb6a75187b732fc593875e7e','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
INSERT INTO "image" VALUES(11,'8860646b40f17b10cfcb90a2c717a4df6c5976b9bd38201d2cd231d5a6d30e83','1111111111111111111111111111111111111111','55555555555555555555555555555555',100,10,10,'PNG','image/png',0,'{}',1);
CREATE TABLE image_scene (
	image_id INTEGER NOT NULL, 
	scene_id INTEGER NOT NULL, 
	probability DOUBLE NOT NULL, 
	rank INTEGER NOT NULL, 
	CONSTRAINT pk_image_scene PRIMARY KEY (image_id, scene_id), 
	CONSTRAINT ck_image_scene_probability CHECK (probability >= 0 AND probability <= 1), 
	CONSTRAINT fk_image_scene_image_id FOREIGN KEY(image_id) REFERENCES image (id), 
	CONSTRAINT fk_image_scene_scene_id FOREIGN KEY(scene_id) REFERENCES scene (id)
)
 WITHOUT ROWID

;
INSERT INTO "image_scene" VALUES(1,1,0.7,1);
INSERT INTO "image_scene" VALUES(1,2,0.2,2);
INSERT INTO "image_scene" VALUES(2,2,0.7,1);
INSERT INTO "image_scene" VALUES(2,3,0.2,2);
INSERT INTO "image_scene" VALUES(3,3,0.7,1);
INSERT INTO "image_scene" VALUES(3,4,0.2,2);
INSERT INTO "image_scene" VALUES(4,1,0.2,2);
INSERT INTO "image_scene" VALUES(4,4,0.7,1);
INSERT INTO "image_scene" VALUES(5,1,0.7,1);
INSERT INTO "image_scene" VALUES(5,2,0.2,2);
INSERT INTO "image_scene" VALUES(7,3,0.7,1);
INSERT INTO "image_scene" VALUES(7,4,0.2,2);
INSERT INTO "image_scene" VALUES(8,1,0.2,2);
INSERT INTO "image_scene" VALUES(8,4,0.7,1);
INSERT INTO "image_scene" VALUES(9,1,0.7,1);
INSERT INTO "image_scene" VALUES(9,2,0.2,2);
INSERT INTO "image_scene" VALUES(10,2,0.7,1);
INSERT INTO "image_scene" VALUES(10,3,0.2,2);
INSERT INTO "image_scene" VALUES(11,3,0.7,1);
INSERT INTO "image_scene" VALUES(11,4,0.2,2);
CREATE TABLE mark (
	id INTEGER NOT NULL, 
	image_id INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	value TEXT NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	withdrawn_at VARCHAR(32), 
	CONSTRAINT pk_mark PRIMARY KEY (id), 
	CONSTRAINT ck_mark_kind CHECK (kind IN ('tag', 'note', 'category')), 
	CONSTRAINT fk_mark_image_id FOREIGN KEY(image_id) REFERENCES image (id)
);
CREATE TABLE merged_audit (
	id INTEGER NOT NULL, 
	merge_id INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	detail TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_merged_audit PRIMARY KEY (id), 
	CONSTRAINT fk_merged_audit_merge_id FOREIGN KEY(merge_id) REFERENCES audit (id), 
	CONSTRAINT uq_merged_audit_merge_id_number UNIQUE (merge_id, number)
);
CREATE TABLE model (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	architecture TEXT NOT NULL, 
	weights_sha256 VARCHAR(64) NOT NULL, 
	preprocess JSON NOT NULL, 
	dim INTEGER, 
	dtype VARCHAR(8) NOT NULL, 
	metric VARCHAR(16) NOT NULL, 
	normalisation VARCHAR(16) NOT NULL, 
	numeric_class VARCHAR(16) NOT NULL, 
	scene_top_k INTEGER NOT NULL, 
	scene_mass DOUBLE NOT NULL, 
	licence TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_model PRIMARY KEY (id), 
	CONSTRAINT ck_model_dim CHECK (dim > 0), 
	CONSTRAINT uq_model_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "model" VALUES(1,'toy','fc9178001551faf1bb3d1c33b24e2047b75fc4aebeb5e3aa52da74f2fff52828','tiny','0000000000000000000000000000000000000000000000000000000000000000','{"size": 32, "fit": "squash", "resize": null, "interpolation": "bicubic", "decode_scale": 2, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}',2,'f2','euclidean','l2','f32',5,0.8,'','','2026-10-01T08:00:00Z');
CREATE TABLE pair_mark (
	id INTEGER NOT NULL, 
	query_sha256 VARCHAR(64) NOT NULL, 
	image_id INTEGER NOT NULL, 
	verdict VARCHAR(16) NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	withdrawn_at VARCHAR(32), 
	CONSTRAINT pk_pair_mark PRIMARY KEY (id), 
	CONSTRAINT ck_pair_mark_verdict CHECK (verdict IN ('relevant', 'irrelevant')), 
	CONSTRAINT fk_pair_mark_image_id FOREIGN KEY(image_id) REFERENCES image (id)
);
CREATE TABLE pdq (
	image_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	quality INTEGER NOT NULL, 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_pdq PRIMARY KEY (image_id), 
	CONSTRAINT ck_pdq_quality CHECK (quality >= 0 AND quality <= 100), 
	CONSTRAINT fk_pdq_image_id FOREIGN KEY(image_id) REFERENCES image (id), 
	CONSTRAINT fk_pdq_run_id FOREIGN KEY(run_id) REFERENCES run (id)
);
CREATE TABLE "run" (
	id INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	source_id INTEGER NOT NULL, 
	started_at VARCHAR(32) NOT NULL, 
	finished_at VARCHAR(32), 
	tool_version VARCHAR(32) NOT NULL, 
	environment JSON NOT NULL, 
	options JSON NOT NULL, 
	host TEXT NOT NULL, 
	pid BIGINT NOT NULL, 
	process_start VARCHAR(64), 
	account JSON NOT NULL, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT ck_run_kind CHECK (kind IN ('index', 'refresh', 'import', 'merge')), 
	CONSTRAINT ck_run_status CHECK (status IN ('running', 'done', 'partial', 'interrupted', 'failed')), 
	CONSTRAINT fk_run_source_id FOREIGN KEY(source_id) REFERENCES source (id)
);
INSERT INTO "run" VALUES(1,'index','done',1,'2026-10-01T08:00:00Z','2026-10-01T08:00:01Z','0.2.0','{}','{"models": ["toy"]}','desk',1,NULL,'{}');
CREATE TABLE scene (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	CONSTRAINT pk_scene PRIMARY KEY (id), 
	CONSTRAINT fk_scene_model_id FOREIGN KEY(model_id) REFERENCES model (id), 
	CONSTRAINT uq_scene_model_id_name UNIQUE (model_id, name)
);
INSERT INTO "scene" VALUES(1,1,0,'bedroom');
INSERT INTO "scene" VALUES(2,1,1,'kitchen');
INSERT INTO "scene" VALUES(3,1,2,'street');
INSERT INTO "scene" VALUES(4,1,3,'forest');
CREATE TABLE scene_pack (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	image_ids BLOB NOT NULL, 
	labels BLOB NOT NULL, 
	CONSTRAINT pk_scene_pack PRIMARY KEY (id), 
	CONSTRAINT fk_scene_pack_model_id FOREIGN KEY(model_id) REFERENCES model (id), 
	CONSTRAINT uq_scene_pack_model_id_number UNIQUE (model_id, number)
);
CREATE TABLE skipped (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	source_id INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	size BIGINT, 
	mtime_ns BIGINT, 
	CONSTRAINT pk_skipped PRIMARY KEY (id), 
	CONSTRAINT fk_skipped_run_id FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_skipped_source_id FOREIGN KEY(source_id) REFERENCES source (id), 
	CONSTRAINT uq_skipped_source_id_path UNIQUE (source_id, path)
);
CREATE TABLE source (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	root_path TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_source PRIMARY KEY (id), 
	CONSTRAINT uq_source_name UNIQUE (name)
);
INSERT INTO "source" VALUES(1,'disk','/evidence/disk','2026-10-01T08:00:00Z');
CREATE TABLE thumbnail (
	image_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	jpeg BLOB NOT NULL, 
	CONSTRAINT pk_thumbnail PRIMARY KEY (image_id), 
	CONSTRAINT fk_thumbnail_image_id FOREIGN KEY(image_id) REFERENCES image (id), 
	CONSTRAINT fk_thumbnail_run_id FOREIGN KEY(run_id) REFERENCES run (id)
);
CREATE TABLE vector_pack (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	image_ids BLOB NOT NULL, 
	scales BLOB NOT NULL, 
	errors BLOB NOT NULL, 
	bits BLOB NOT NULL, 
	codes BLOB NOT NULL, 
	CONSTRAINT pk_vector_pack PRIMARY KEY (id), 
	CONSTRAINT fk_vector_pack_model_id FOREIGN KEY(model_id) REFERENCES model (id), 
	CONSTRAINT uq_vector_pack_model_id_number UNIQUE (model_id, number)
);
CREATE INDEX ix_model_name ON model (name);
CREATE UNIQUE INDEX uq_failure_open ON failure (source_id, path) WHERE resolved_run_id IS NULL;
CREATE UNIQUE INDEX uq_file_live ON file (source_id, path) WHERE gone_run_id IS NULL;
CREATE INDEX ix_file_image_id_gone_run_id ON file (image_id, gone_run_id);
CREATE INDEX ix_file_gone ON file (gone_run_id, image_id) WHERE gone_run_id IS NOT NULL;
CREATE INDEX ix_image_partial ON image (partial) WHERE partial = 1;
CREATE UNIQUE INDEX uq_mark_standing ON mark (image_id, kind, value) WHERE withdrawn_at IS NULL;
CREATE UNIQUE INDEX uq_pair_mark_standing ON pair_mark (query_sha256, image_id) WHERE withdrawn_at IS NULL;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;
CREATE TRIGGER merged_audit_no_update BEFORE UPDATE ON merged_audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;
CREATE TRIGGER merged_audit_no_delete BEFORE DELETE ON merged_audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;
COMMIT;
