CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;

CREATE TRIGGER merged_audit_no_delete BEFORE DELETE ON merged_audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;

CREATE TRIGGER merged_audit_no_update BEFORE UPDATE ON merged_audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

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

CREATE TABLE hash_entry (
	digest BLOB NOT NULL, 
	list_id INTEGER NOT NULL, 
	category TEXT, 
	CONSTRAINT pk_hash_entry PRIMARY KEY (digest, list_id), 
	CONSTRAINT fk_hash_entry_list_id FOREIGN KEY(list_id) REFERENCES hash_list (id)
)
 WITHOUT ROWID;

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
 WITHOUT ROWID;

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
	CONSTRAINT ck_run_kind CHECK (kind IN ('index', 'refresh', 'import', 'merge', 'derive')), 
	CONSTRAINT ck_run_status CHECK (status IN ('running', 'done', 'partial', 'interrupted', 'failed')), 
	CONSTRAINT fk_run_source_id FOREIGN KEY(source_id) REFERENCES source (id)
);

CREATE TABLE scene (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	CONSTRAINT pk_scene PRIMARY KEY (id), 
	CONSTRAINT fk_scene_model_id FOREIGN KEY(model_id) REFERENCES model (id), 
	CONSTRAINT uq_scene_model_id_name UNIQUE (model_id, name)
);

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

CREATE INDEX ix_file_gone ON file (gone_run_id, image_id) WHERE gone_run_id IS NOT NULL;

CREATE INDEX ix_file_image_id_gone_run_id ON file (image_id, gone_run_id);

CREATE INDEX ix_image_partial ON image (partial) WHERE partial = 1;

CREATE INDEX ix_model_name ON model (name);

CREATE UNIQUE INDEX uq_failure_open ON failure (source_id, path) WHERE resolved_run_id IS NULL;

CREATE UNIQUE INDEX uq_file_live ON file (source_id, path) WHERE gone_run_id IS NULL;

CREATE UNIQUE INDEX uq_mark_standing ON mark (image_id, kind, value) WHERE withdrawn_at IS NULL;

CREATE UNIQUE INDEX uq_pair_mark_standing ON pair_mark (query_sha256, image_id) WHERE withdrawn_at IS NULL;

